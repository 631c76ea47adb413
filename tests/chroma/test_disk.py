"""What Chroma keeps of a dropped version is named, with what gives it back; what is in use is never named."""

import shutil
import subprocess
import sys

from vecmigrate.cutover.disposal import retire
from vecmigrate.store import Capability
from vecmigrate_chroma.disk import kept_disk, left_folders


def test_a_dropped_versions_disk_is_kept_until_the_commands_that_are_named_give_it_back(application, chroma_directory):
    path, _ = chroma_directory
    app = application()
    app.flip(1)
    app.flip(0)
    before = left_folders(path)
    retire(app.store, app.version(1), actor="operator")
    told = app.store.can(Capability.FREES_DISK)
    assert (told.able, before) == (False, [])
    assert f"chroma vacuum --path {path}" in told.reason


def test_only_folders_that_no_index_uses_are_named(tmp_path):
    import chromadb

    client = chromadb.PersistentClient(str(tmp_path))
    for name in ("used", "gone"):
        made = client.create_collection(name, embedding_function=None, configuration={"hnsw": {"sync_threshold": 3, "batch_size": 3}})
        made.add(ids=[str(i) for i in range(10)], embeddings=[[float(i), 1.0] for i in range(10)])
    folders = {entry for entry in tmp_path.iterdir() if entry.is_dir()}
    assert len(folders) == 2
    client.delete_collection("gone")
    left = left_folders(tmp_path)
    assert (len(left), set(left) <= folders) == (1, True)
    text = kept_disk(tmp_path)
    assert "1 folders of deleted indexes" in text
    assert f"rm -r {left[0]}" in text
    client.close()
    shutil.rmtree(left[0])
    vacuum = [sys.executable, "-c", "from chromadb.cli.cli import app; app()", "vacuum", "--path", str(tmp_path), "--force"]
    assert "complete" in subprocess.run(vacuum, capture_output=True, text=True, check=True, cwd=tmp_path.parent).stdout
    again = chromadb.PersistentClient(str(tmp_path))
    assert again.get_collection("used", embedding_function=None).query(query_embeddings=[[3.0, 1.0]], n_results=1)["ids"] == [["3"]]
    again.close()


def test_a_directory_whose_database_cannot_be_read_names_nothing(tmp_path):
    (tmp_path / "6f9619ff-8b86-d011-b42d-00cf4fc964ff").mkdir()
    (tmp_path / "chroma.sqlite3").write_text("not a database")
    assert left_folders(tmp_path) == []


def test_of_a_servers_disk_the_place_is_not_known():
    assert "the server's directory" in kept_disk(None)
