"""A model that was tuned on the query side alone, as a directory: a router whose document route is the base's own modules."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router  # noqa: E402

from vecmigrate.config import EncodingSection  # noqa: E402
from vecmigrate.encoding import load_encoder  # noqa: E402
from vecmigrate.encoding.loading import quiet_bars  # noqa: E402

SETTINGS = EncodingSection(device="cpu", threads=1)
TEXTS = ["Refunds take five days.", "", "one two three " * 40, "how do I get my money back?", "Größe 🙂"]


@pytest.fixture(scope="module")
def base(tiny):
    return tiny(Pooling(16), Normalize())


def adapter(scale):
    """A matrix after the query's embedding, without bias or activation."""
    dense = Dense(16, 16, bias=False, activation_function=torch.nn.Identity())
    with torch.no_grad():
        turned = torch.roll(torch.eye(16), 1, dims=0)
        dense.linear.weight.copy_(torch.eye(16) + scale * turned)
    return dense


def routed(base, folder, *, scale=0.5, tuned=False, prompts=None):
    """The base's modules as the document route; for queries the same and a matrix, or a copy of them with other weights."""
    with quiet_bars():
        documents = list(SentenceTransformer(str(base), device="cpu").children())
        queries = [*documents, adapter(scale), Normalize()]
        if tuned:
            queries = list(SentenceTransformer(str(base), device="cpu").children())
            with torch.no_grad():
                for weights in queries[0].parameters():
                    weights.add_(torch.ones_like(weights).cumsum(-1).remainder(3), alpha=0.05)
        router = Router.for_query_document(queries, documents)
        SentenceTransformer(modules=[router], device="cpu", prompts=prompts).save(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("tuned", [False, True])
def test_documents_are_exactly_the_bases_and_queries_are_not(base, tmp_path, tuned, precision):
    settings = SETTINGS.model_copy(update={"precision": precision})
    plain, routes = load_encoder(str(base), settings), load_encoder(str(routed(base, tmp_path / "m", tuned=tuned)), settings)
    assert np.array_equal(routes.encode_documents(TEXTS), plain.encode_documents(TEXTS))
    assert np.abs(routes.encode_queries(TEXTS) - plain.encode_queries(TEXTS)).max() > 0.005
    assert routes.encode_queries(TEXTS).shape == (5, 16)


def test_the_matrix_is_applied_to_the_bases_query_embedding_and_the_result_is_normalised(base, tmp_path):
    plain, routes = load_encoder(str(base), SETTINGS), load_encoder(str(routed(base, tmp_path / "m")), SETTINGS)
    queries = plain.encode_queries(TEXTS)
    expected = queries @ (np.eye(16) + 0.5 * np.roll(np.eye(16), 1, axis=0)).T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(routes.encode_queries(TEXTS), expected, atol=1e-5)


def test_both_sides_are_what_the_library_makes_of_them(base, tmp_path):
    routes = load_encoder(str(routed(base, tmp_path / "m")), SETTINGS)
    assert np.allclose(routes.encode_queries(TEXTS), routes.pipeline.encode_query(TEXTS), atol=1e-5)
    assert np.allclose(routes.encode_documents(TEXTS), routes.pipeline.encode_document(TEXTS), atol=1e-5)


def test_each_side_has_its_own_prompt(base, tmp_path):
    prompts = {"query": "question: ", "document": "passage: "}
    routes = load_encoder(str(routed(base, tmp_path / "m", prompts=prompts)), SETTINGS)
    plain = load_encoder(str(base), SETTINGS, query_prompt="question: ", document_prompt="passage: ")
    assert (routes.model.query_prompt, routes.model.document_prompt) == ("question: ", "passage: ")
    assert np.array_equal(routes.encode_documents(TEXTS), plain.encode_documents(TEXTS))
    without = load_encoder(str(base), SETTINGS)
    assert not np.allclose(routes.encode_documents(TEXTS), without.encode_documents(TEXTS), atol=1e-3)
    assert np.allclose(routes.encode_queries(TEXTS), routes.pipeline.encode_query(TEXTS), atol=1e-5)


def test_dimension_and_longest_text_are_the_bases(base, tmp_path):
    plain, routes = load_encoder(str(base), SETTINGS), load_encoder(str(routed(base, tmp_path / "m")), SETTINGS)
    assert (routes.model.dimension, routes.model.max_tokens) == (plain.model.dimension, plain.model.max_tokens) == (16, 48)
    assert routes.count_truncated(TEXTS) == plain.count_truncated(TEXTS) == 1


def test_the_fingerprint_is_another_than_the_bases_and_moves_with_the_matrix(base, tmp_path):
    found = [load_encoder(str(routed(base, tmp_path / f"m{scale}", scale=scale)), SETTINGS).model for scale in (0.5, 0.25)]
    again = load_encoder(str(routed(base, tmp_path / "again")), SETTINGS).model
    assert len({load_encoder(str(base), SETTINGS).model.fingerprint, *(model.fingerprint for model in found)}) == 3
    assert again.fingerprint == found[0].fingerprint


def test_which_route_is_whose_is_part_of_the_fingerprint(base, tmp_path):
    folder = routed(base, tmp_path / "m")
    before = load_encoder(str(folder), SETTINGS)
    path = folder / "router_config.json"
    config = json.loads(path.read_text())
    config["structure"] = {"query": config["structure"]["document"], "document": config["structure"]["query"]}
    path.write_text(json.dumps(config))
    swapped = load_encoder(str(folder), SETTINGS)
    assert np.array_equal(swapped.encode_queries(TEXTS), before.encode_documents(TEXTS))
    assert swapped.model.fingerprint != before.model.fingerprint


def test_whose_documents_they_are_is_not_read_from_the_files(base, tmp_path):
    assert load_encoder(str(routed(base, tmp_path / "m")), SETTINGS).model.documents == ""
