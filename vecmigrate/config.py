"""vecmigrate.toml: where the store is, which model made its vectors, where the query log is, and when to say no.

Found by `--config`, else `VECMIGRATE_CONFIG`, else ./vecmigrate.toml and upward to the root of the working copy.
A secret is never in the file: it names the environment variable that holds the DSN (`dsn_env = "DATABASE_URL"`).
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vecmigrate.errors import UsageError

FILE_NAME = "vecmigrate.toml"
ENVIRONMENT_VARIABLE = "VECMIGRATE_CONFIG"

Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


COLLECTION_NAME = r"^[a-z][a-z0-9_]{0,39}$"
"""What a collection may be called in vecmigrate: it becomes part of the names of tables and collections."""


class StoreSection(BaseModel):
    """`[store]`: the adapter, the collection's name, and whatever the adapter itself asks for."""

    model_config = ConfigDict(extra="allow", frozen=True)

    adapter: str
    collection: str = Field(default="docs", pattern=COLLECTION_NAME)

    @property
    def settings(self) -> dict[str, Any]:
        """The adapter's own settings: every key but `adapter` and `collection`."""
        return dict(self.model_extra or {})


class ControlSection(Section):
    """`[control]`: the model that made the vectors that serve now: a directory or a hub name, or a name in `models list`."""

    model: str
    query_prompt: str | None = None
    document_prompt: str | None = None


class LogSection(Section):
    """`[log]`: one of `path` (JSONL, JSON, CSV or Parquet), `table` or `sql`; `columns` maps our names to the log's own.

    `also` names further files of the same export. What each setting does and where its default comes from: docs/query-logs.md.
    """

    path: Path | None = None
    also: tuple[Path, ...] = ()
    table: str | None = None
    sql: str | None = None
    format: Literal["auto", "rows", "phoenix", "otel", "langfuse", "langsmith", "open-webui", "dify"] = "auto"
    columns: dict[str, str] = {}
    resolve_by: Literal["auto", "id", "metadata", "text"] = "auto"
    metadata_key: str | None = None
    min_rating: float = 1.0
    min_support: int = Field(default=1, ge=1)
    min_dwell_seconds: float = Field(default=30.0, ge=0)
    position_bias: Literal["auto", "default", "off"] = "auto"
    position_eta: float = Field(default=1.0, ge=0)
    approves: Literal["cited", "shown"] = "cited"
    score_name: str | None = None
    only_tenant: str | None = None
    max_age_days: float | None = Field(default=None, gt=0)
    max_age_from: Literal["newest", "now"] = "newest"
    redact: bool = True

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(LOG_COLUMNS))
        if unknown:
            raise ValueError(f"unknown name {unknown[0]!r}; known: {', '.join(LOG_COLUMNS)}")
        return columns


LOG_COLUMNS = (
    "query_id",
    "user_query",
    "timestamp",
    "session_id",
    "user_id",
    "query_response_hit_ids",
    "clicked_ids",
    "cited_ids",
    "ratings",
    "approved_ids",
    "tenant",
    "dwell_seconds",
    "clicked_position",
    "click_count",
)
"""The fields of a flattened search-log row, named as in User Behavior Insights where that has a name.

`ratings` maps a reference to a number; the `_ids` fields are lists (or text: a JSON array, or comma-separated).
`approved_ids` were cited by an answer that was rated good. `dwell_seconds`, `clicked_position` (rank 1 first) and `click_count` (how
many the row stands for) are those of the row's clicks.
"""


class DatasetSection(Section):
    """`[dataset]`: how queries are split and hard negatives mined (docs/hard-negatives.md). Scores and similarities are cosines.

    `document_key` is the metadata key that names a chunk's document: looked for where it isn't given, `""` for none.
    """

    test_fraction: Fraction = 0.2
    dev_fraction: Fraction = 0.1
    split_by: Literal["auto", "time", "group"] = "auto"
    negatives_per_pair: int = Field(default=1, ge=0, le=16)
    negative_max_relative_score: Fraction = 0.95
    negative_max_score: float | None = Field(default=None, ge=-1, le=1)
    negative_margin: float | None = Field(default=None, ge=0, le=2)
    negative_near_duplicate: Fraction = 0.95
    negative_first_rank: int = Field(default=5, ge=1)
    negative_last_rank: int = Field(default=50, ge=1, le=1000)
    negative_choice: Literal["random", "top"] = "random"
    negative_search: Literal["auto", "index", "exact"] = "auto"
    negative_filter: str | None = None
    negative_filter_share: Fraction = 0.5
    document_key: str | None = None
    remine_chunks: int = Field(default=20_000, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.negative_first_rank > self.negative_last_rank:
            raise ValueError(f"negative_first_rank {self.negative_first_rank} is behind negative_last_rank {self.negative_last_rank}")
        return self


LossName = Literal["ranking", "symmetric-ranking", "guided", "triplet", "cosent", "cosine", "margin-mse", "distillation"]
"""The losses of `[training] loss`; docs/fine-tuning.md says what data each needs."""

RungName = Literal["adapter", "query", "full"]
"""What is tuned: a matrix on the query side, the query encoder alone, or the whole model."""


class SynthesisSection(Section):
    """`[synthesis]`: queries made from the chunks where users' are few or none. Lengths are in words; money in whatever the prices are in.

    `kind` is who makes them: `local` needs no service; `endpoint` sends chunks to `url`. `seed` draws the chunks, `request_seed` is sent.
    """

    kind: Literal["none", "local", "endpoint"] = "none"
    max_chunks: int = Field(default=2000, ge=1)
    per_chunk: int = Field(default=3, ge=1, le=20)
    seed: int = 0
    weight: float = Field(default=0.5, gt=0, le=1)
    min_words: int = Field(default=2, ge=1)
    max_words: int = Field(default=40, ge=1)
    copied_words: int = Field(default=8, ge=0)
    round_trip: int = Field(default=20, ge=0, le=1000)
    kinds: tuple[Literal["title", "keywords", "sentence", "crop"], ...] = ("title", "keywords", "sentence")
    url: str = ""
    model: str = ""
    api_key_env: str = ""
    prompt: str = ""
    concurrency: int = Field(default=4, ge=1, le=64)
    batch: int = Field(default=20, ge=1)
    timeout: float = Field(default=60.0, gt=0)
    max_tokens: int = Field(default=400, ge=0)
    temperature: float | None = Field(default=None, ge=0)
    request_seed: int | None = None
    body: dict[str, Any] = {}
    budget_tokens: int | None = Field(default=None, ge=1)
    budget_money: float | None = Field(default=None, gt=0)
    price_per_million_in: float | None = Field(default=None, ge=0)
    price_per_million_out: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.budget_money is not None and not self.priced:
            raise ValueError("budget_money needs price_per_million_in and price_per_million_out")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if not self.kinds:
            raise ValueError("kinds is empty; name at least one")
        return self

    @property
    def priced(self) -> bool:
        """Whether both prices are given."""
        return self.price_per_million_in is not None and self.price_per_million_out is not None


class TrainingSection(Section):
    """`[training]`: the settings of `vecmigrate train`. `learning_rate`, `epochs` and `loss` are chosen by measurement on the dev queries,
    within `budget_minutes`, where they aren't given.
    """

    base: str | None = None
    rungs: tuple[RungName, ...] = Field(default=("adapter", "full"), min_length=1)
    goal: float | None = Field(default=None, gt=0)
    loss: LossName | Literal["auto"] = "auto"
    epochs: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=2)
    learning_rate: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=8)
    warmup_fraction: Fraction = 0.1
    evaluations_per_epoch: int = Field(default=2, ge=1)
    patience: int = Field(default=3, ge=1)
    seed: int = 0
    budget_minutes: float | None = Field(default=None, gt=0)
    mining_rounds: int = Field(default=1, ge=1, le=5)
    interpolate: bool = True
    probe: Path | Literal["general", "none"] = "general"
    probe_margin: Fraction = 0.01
    replay: Path | None = None
    replay_fraction: Fraction = 0.1
    matryoshka_dims: tuple[Annotated[int, Field(ge=1)], ...] = ()
    matryoshka_weights: tuple[Annotated[float, Field(gt=0)], ...] = ()
    matryoshka_layers: bool = False
    teacher: str | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    recompute: bool = False
    accumulation: int = Field(default=1, ge=1)
    lora_rank: int | None = Field(default=None, ge=1)
    freeze_layers: int = Field(default=0, ge=0)
    compile: bool = False
    report_to: tuple[str, ...] = ()


class EncodingSection(Section):
    """`[encoding]`: how texts become vectors. `precision` is part of the model version. `tokens_per_batch` and `threads` follow the
    device where they aren't given.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    tokens_per_batch: int | None = Field(default=None, ge=128)
    threads: int | None = Field(default=None, ge=1)


class GateSection(Section):
    """`[gate]`: what a candidate must show before a cutover. Differences are candidate minus control.

    `accept_synthetic` lets test queries that no user asked decide it.
    """

    measure: str = "nDCG@10"
    min_difference: float = 0.0
    confidence: Fraction = 0.95
    min_queries: int = Field(default=50, ge=1)
    max_worse_fraction: Fraction = 0.4
    slice_margin: float = 0.05
    slice_min_queries: int = Field(default=30, ge=1)
    max_latency_ratio: float | None = Field(default=2.0, gt=0)
    min_ann_recall: Fraction = 0.9
    accept_synthetic: bool = False


class Config(Section):
    """The whole file. `root` is its folder: relative paths in it start there."""

    store: StoreSection
    control: ControlSection
    log: LogSection = LogSection()
    dataset: DatasetSection = DatasetSection()
    synthesis: SynthesisSection = SynthesisSection()
    training: TrainingSection = TrainingSection()
    encoding: EncodingSection = EncodingSection()
    gate: GateSection = GateSection()
    workspace: Path = Path(".vecmigrate")
    root: Path = Field(default=Path(), exclude=True)

    @property
    def workspace_path(self) -> Path:
        """Where datasets, models and comparisons are kept."""
        return self.root / self.workspace

    def from_root(self, reference: str) -> str:
        """A model's name as it is; a relative directory starts at the file's own folder, wherever the command is typed."""
        local = self.root / reference
        return str(local) if reference and local.is_dir() else reference


def find_config(start: Path | None = None) -> Path:
    """The configuration file that applies. Raises `UsageError` saying how to make one."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named)
    folder = (start or Path.cwd()).resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
        if (candidate / ".git").exists():
            break
    raise UsageError(f"no {FILE_NAME} in {folder} or above", hint="vecmigrate init writes one")


def load_config(path: Path | None = None) -> Config:
    """Read and check the file. Raises `UsageError` naming the key that is wrong."""
    file = path or find_config()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}", hint="vecmigrate init writes one") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is not valid TOML: {error}", hint="mend that line") from error
    try:
        config = Config.model_validate({**data, "root": file.resolve().parent})
    except ValidationError as error:
        raise UsageError(_complaint(file, error), hint="see `vecmigrate init --help` for the keys") from None
    scorer, teacher = (config.from_root(named or "") or None for named in (config.dataset.negative_filter, config.training.teacher))
    dataset = config.dataset.model_copy(update={"negative_filter": scorer})
    return config.model_copy(update={"dataset": dataset, "training": config.training.model_copy(update={"teacher": teacher})})


def _complaint(file: Path, error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        return f"{file.name}: {key} is unknown; known there: {', '.join(_known_keys(first['loc'][:-1]))}"
    return f"{file.name}: {key}: {first['msg']}"


def _known_keys(section: tuple[int | str, ...]) -> list[str]:
    """The keys of a section, or of the file."""
    if not section:
        return sorted(set(Config.model_fields) - {"root"})
    annotation = Config.model_fields[str(section[0])].annotation
    return sorted(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
