"""Exit codes, help, JSON and confirmation are what the documentation says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import rich_click as click

from vecmigrate import cli, errors
from vecmigrate.cli import VERBS, root, run
from vecmigrate.cli.session import Session

README = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
HEAVY = (
    "torch",
    "sentence_transformers",
    "transformers",
    "chromadb",
    "psycopg",
    "pgvector",
    "numpy",
    "scipy",
    "pydantic",
    "pyarrow",
    "jinja2",
)


def commands() -> list[tuple[str, click.Command]]:
    context = click.Context(root)
    found = []
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        inner = command.commands.items() if isinstance(command, click.Group) else []
        found += [(name, command), *((f"{name} {sub}", c) for sub, c in inner)]
    return found


def test_help_lists_every_verb_and_imports_nothing_heavy():
    code = (
        f"import sys; from vecmigrate.cli import run; run(['--help']); print(*(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(verb in done.stdout for verb in VERBS)
    assert done.stderr.strip() == ""


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, vecmigrate; print(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda x: x if isinstance(x, str) else "")
def test_every_command_and_option_has_help(name, command):
    assert command.help, name
    assert all(getattr(p, "help", None) for p in command.params if isinstance(p, click.Option) and p.name not in ("output", "help"))


@pytest.mark.parametrize("verb", [v for v in VERBS if v not in ("doctor", "completion", "status", "verify", "history", "query", "models")])
def test_the_readme_shows_every_step_of_the_job(verb):
    assert verb in README


@pytest.mark.parametrize(
    ("name", "command"), [c for c in commands() if not isinstance(c[1], click.Group)], ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_verb_takes_the_common_options_after_its_name(name, command):
    assert {"as_json", "yes", "quiet", "verbose", "config_path"} <= {p.name for p in command.params}, name


@pytest.fixture
def failing(monkeypatch):
    """A verb `status` that raises what the test says."""

    def install(error: BaseException) -> None:
        @click.command("status")
        def status_command() -> None:
            """Fail."""
            raise error

        monkeypatch.setattr("vecmigrate.cli.status.status_command", status_command)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.VecmigrateError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.GateFailed("x"), 3),
        (errors.PreflightRefused("x"), 4),
        (errors.Conflict("x"), 5),
        (errors.StalePlan("x"), 6),
        (errors.StoreUnavailable("x"), 7),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(failing, error, code):
    failing(error)
    assert run(["status"]) == code


def test_an_error_says_what_and_what_next(failing, capsys):
    failing(errors.Conflict("docs is held by ann@host", hint="wait for it"))
    run(["status"])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: docs is held by ann@host\nhint: wait for it\n")


def test_an_error_with_json_is_one_object_on_stdout(failing, capsys):
    failing(errors.StalePlan("epoch 3 is over", hint="vecmigrate plan"))
    assert run(["status", "--json"]) == 6
    found = json.loads(capsys.readouterr().out)
    assert found == {"error": "StalePlan", "message": "epoch 3 is over", "hint": "vecmigrate plan", "exit_code": 6}


def test_an_interruption_says_that_the_same_command_goes_on(failing, capsys):
    failing(KeyboardInterrupt())
    assert run(["status"]) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_a_traceback_is_shown_only_when_asked_for(failing, capsys):
    failing(errors.DataError("bad row"))
    run(["status"])
    assert "Traceback" not in capsys.readouterr().err
    run(["status", "-v"])
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_verb_is_a_usage_error(capsys):
    assert run(["migrate"]) == 2
    assert "No such command 'migrate'" in capsys.readouterr().err


def test_a_usage_error_with_json_is_one_object_on_stdout_too(capsys):
    assert run(["plan", "--nonsense", "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["error"], found["exit_code"]) == ("NoSuchOption", 2)
    assert "--nonsense" in found["message"]


def test_without_a_terminal_a_change_needs_yes(capsys):
    with pytest.raises(errors.UsageError, match="there is no terminal to ask"):
        Session().confirm(["plan   drop everything", "undo   none"])
    assert "plan   drop everything" in capsys.readouterr().err


def test_with_yes_the_plan_is_shown_and_nothing_asked(capsys):
    Session(yes=True).confirm(["plan   go"])
    assert capsys.readouterr().err == "plan   go\n"


def test_quiet_keeps_progress_off_stderr(capsys):
    session = Session(yes=True, quiet=True)
    session.confirm(["plan   go"])
    with session.progress("x") as bar:
        bar.add_task("", total=1, status="")
    assert capsys.readouterr().err == ""


def test_a_result_ends_with_what_comes_next(capsys):
    Session().emit({"rows": 3}, ["3 rows"], following="vecmigrate train")
    assert capsys.readouterr().out == "3 rows\nnext: vecmigrate train\n"


def test_json_is_one_object_with_what_comes_next(capsys):
    Session(as_json=True).emit({"rows": 3, "text": "ä"}, ["3 rows"], following="vecmigrate train")
    assert capsys.readouterr().out == '{"rows": 3, "text": "ä", "next": "vecmigrate train"}\n'


def test_data_is_never_taken_for_markup(capsys):
    Session().emit({}, ["[red]not red[/red] [link=x]"])
    assert capsys.readouterr().out == "[red]not red[/red] [link=x]\n"


def test_a_plan_file_that_is_none_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "plan.json").write_text("[]", encoding="utf-8")
    (tmp_path / "vecmigrate.toml").write_text('[store]\nadapter = "pgvector"\n[control]\nmodel = "m"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["cutover", "plan.json"]) == 2
    assert "plan.json is not a plan" in capsys.readouterr().err


def test_completion_scripts_are_printed_for_each_shell(capsys):
    for shell in ("bash", "zsh", "fish"):
        assert run(["completion", shell]) == 0
        assert "_VECMIGRATE_COMPLETE" in capsys.readouterr().out


def test_control_characters_of_the_data_do_not_reach_the_terminal():
    from vecmigrate.cli.tables import one_line

    assert one_line("a\x1b[31mred\nnext\tline\x07", 40) == "a [31mred next line"
    assert one_line("x" * 50, 10) == "xxxxxxxxx…"


def test_every_verb_is_in_the_overview_with_the_line_that_its_module_begins_with():
    assert cli.VERBS["cutover"] == ("cutover", "Move readers to a new version, atomically.")
    for verb, (module, line) in VERBS.items():
        assert line.endswith((".", "?")), verb
        assert (Path(cli.__file__).parent / f"{module}.py").is_file()


def test_a_failure_after_the_result_leaves_one_json_object_on_stdout(monkeypatch, capsys):
    @click.command("status")
    @click.pass_obj
    def status_command(session: Session) -> None:
        """Print, then fail."""
        session.emit({"ok": False})
        raise errors.GateFailed("not better", hint="keep it")

    monkeypatch.setattr("vecmigrate.cli.status.status_command", status_command)
    assert run(["status", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"ok": False, "next": None}
    assert "error: not better" in err


@pytest.mark.parametrize(("answer", "typed"), [("n\n", None), ("\n", None), ("v1\n", "docs@v1")])
def test_who_does_not_agree_is_told_that_nothing_was_done(monkeypatch, answer, typed):
    import io

    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    with pytest.raises(errors.VecmigrateError, match="not confirmed: nothing was done"):
        Session(quiet=True).confirm(["plan   go"], typed=typed)
