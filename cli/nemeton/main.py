"""
The command line: names, options, help, exit statuses. What a command does stands in the module that it imports.

Exit statuses: 0 done (for a watched task: SUCCESS), 1 the task FAILED or a part could not run, 2 refused or
unreachable, 130 interrupted.
"""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from nemeton import people
from nemeton.words import DEFAULT_OVERLORD, WIDE, OverlordUrl, in_words, print_json

app = typer.Typer(
    name="nemeton",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""
    Nemeton: an Apache-Druid-compatible Overlord whose peons are processes.

    Start everything on this machine, then hand it a task:

    \b
      nemeton up
      nemeton submit examples/wikiticker-index.json --watch

    The client commands (submit, tasks, logs, report, shutdown) work with Java Druid's Overlord too: name it with
    --overlord.

    Where an Overlord asks who calls, say so by the environment, so that no list of processes shows it: NEMETON_USER
    and NEMETON_PASSWORD, or NEMETON_TOKEN for a bearer token; NEMETON_PASSWORD_FILE and NEMETON_TOKEN_FILE name files;
    without them ~/.netrc is read, and on a terminal you are asked. NEMETON_CA_FILE names authorities to trust, as PEM.
    """,
)
segment = typer.Typer(no_args_is_help=True, help="Look into segments.")
app.add_typer(segment, name="segment")
app.add_typer(people.user, name="user")
app.add_typer(people.role, name="role")


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"nemeton {version('nemeton')}")
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """What stands before a command's name."""


PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": list[str]()}

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id, as `nemeton tasks` shows it.")]


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Where everything that must survive is kept.")] = Path("nemeton-data"),
    host: Annotated[
        str, typer.Option(help="The address to listen on. Others than 127.0.0.1 are open to the network.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The Overlord's port. 0: any free one.")] = 8090,
    worker_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The MiddleManager's port. 0: any free one.")
    ] = 8091,
    worker_capacity: Annotated[int, typer.Option(min=1, help="How many tasks run at once.")] = 2,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="NEMETON_DATABASE_URL", help="A PostgreSQL to use in place of the embedded one."),
    ] = None,
    deep_storage: Annotated[
        str | None,
        typer.Option(
            envvar="NEMETON_DEEP_STORAGE", help="URL for segments: file://, s3://, gs://, az://. Default: below --data."
        ),
    ] = None,
    task_logs: Annotated[
        str | None, typer.Option(envvar="NEMETON_TASK_LOGS", help="URL for logs and reports. Default: below --data.")
    ] = None,
    hints: Annotated[bool, typer.Option(help="Say what can be done next, once all is ready.")] = True,
) -> None:
    """
    Start PostgreSQL, Overlord and MiddleManager here.

    A part that dies is started again. Ctrl-C stops all of it in order; after `kill -9`, or a power cut, the next
    start puts things right, and tasks that were accepted go on.

    \b
      nemeton up
      nemeton up --data /var/lib/nemeton --worker-capacity 4
      nemeton up --deep-storage s3://bucket/segments --task-logs s3://bucket/logs
    """
    from nemeton.up.house import run
    from nemeton.up.plan import Wishes

    wishes = Wishes(data, host, port, worker_port, worker_capacity, database_url, deep_storage, task_logs)
    with in_words(exit_status=1):
        run(wishes, lambda line: print(line, flush=True), hints=hints)


@app.command()
def overlord(
    database_url: Annotated[
        str, typer.Option(envvar="NEMETON_DATABASE_URL", help="postgresql://user:password@host/database")
    ],
    host: Annotated[str, typer.Option(envvar="NEMETON_HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="NEMETON_PORT", min=0, max=65535, help="The port to listen on.")] = 8090,
    task_logs: Annotated[
        str | None,
        typer.Option(
            envvar="NEMETON_TASK_LOGS",
            help="URL for logs and reports: file://, s3://, gs://, az://; one that all replicas and runners share. "
            "By default there is none, and logs of finished tasks are not kept.",
        ),
    ] = None,
) -> None:
    """
    Start an Overlord alone. Its tables are made, or brought up to date, first.

    Several Overlords may share one database: all of them answer, none leads.

    \b
      nemeton overlord --database-url postgresql://druid@db/druid --task-logs s3://bucket/logs
    """
    from nemeton.up.address import reserve
    from overlord.server import run
    from overlord.settings import OverlordSettings

    with in_words(exit_status=1):
        reserve(host, port, "--port")  # for its words; the server itself would say only a number and "in use"
        run(OverlordSettings.from_environment(database_url=database_url, host=host, port=port, task_logs=task_logs))


@app.command()
def operator() -> None:
    """
    Start the operator: tasks as pods, on the Kubernetes that KUBECONFIG or its own pod belongs to.

    It takes no options: its settings are environment variables. NEMETON_OVERLORD, the Overlord's URL, is needed.
    """
    from overlord_operator.main import main

    sys.exit(main())


@app.command("middle-manager", context_settings=PASS_THROUGH, add_help_option=False)
def middle_manager(context: typer.Context) -> None:
    """
    Start a MiddleManager alone: tasks as processes.

    `nemeton middle-manager --help` lists its options.
    """
    from middle_manager.__main__ import main

    _pass_on("nemeton middle-manager", context.args)
    sys.exit(main())


@app.command(context_settings=PASS_THROUGH, add_help_option=False)
def peon(context: typer.Context) -> None:
    """
    Run one task, without an Overlord if need be.

    `nemeton peon --help` lists all forms and options.
    """
    from peon.run import main

    _pass_on("nemeton peon", context.args)
    sys.exit(main())


@app.command()
def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The task as JSON; `-` reads it from the standard input.")
    ],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay until the task has ended, showing how it goes.")
    ] = False,
    overlord: OverlordUrl = DEFAULT_OVERLORD,
) -> None:
    """
    Submit a task; print its id.

    With --watch the exit status is 0 for SUCCESS and 1 for FAILED. It is 2 if the task is refused or nobody answers.

    \b
      nemeton submit examples/wikiticker-index.json --watch
      jq '.context.priority = 80' task.json | nemeton submit -
    """
    from nemeton.client import submit as submitting
    from nemeton.client.overlord import Overlord
    from nemeton.progress import ProgressLine

    with in_words():
        server = Overlord(overlord)
        task_id = server.submit(submitting.read_spec(file))
        print(task_id, flush=True)
        if not watch:
            return
        try:
            with ProgressLine() as line:
                status = submitting.watch(server, task_id, line.show)
        except KeyboardInterrupt:
            typer.echo(
                f"no longer watching; the task goes on. To end it: {_hint('shutdown', task_id, overlord)}", err=True
            )
            raise typer.Exit(130) from None
    if status["statusCode"] != "SUCCESS":
        typer.secho(f"FAILED: {status.get('errorMsg') or 'no reason was given'}", fg="red", err=True)
        typer.echo(f"its log: {_hint('logs', task_id, overlord)}", err=True)
        raise typer.Exit(1)


@app.command()
def tasks(
    state: Annotated[str | None, typer.Option(help="waiting, pending, running or complete.")] = None,
    datasource: Annotated[str | None, typer.Option(help="Only this datasource's.")] = None,
    task_type: Annotated[
        str | None, typer.Option("--type", help="Only this type: index_parallel, kill, noop ...")
    ] = None,
    at_most: Annotated[int | None, typer.Option("--max", min=0, help="At most so many finished ones.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The Overlord's answer as it is.")] = False,
    overlord: OverlordUrl = DEFAULT_OVERLORD,
) -> None:
    """
    List tasks.

    Finished ones first, the newest of them first, then those under way.

    \b
      nemeton tasks --state running
      nemeton tasks --datasource wikiticker --json | jq '.[].id'
    """
    from nemeton.client.overlord import Overlord

    with in_words():
        found = Overlord(overlord).tasks(state=state, datasource=datasource, type=task_type, max=at_most)
    if json:
        print_json(found)
        return
    if not found:
        print("no tasks")
        return
    from rich.console import Console

    from nemeton.client.tasks import show

    show(found, Console(width=WIDE, highlight=False))


@app.command()
def logs(
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows; end with the task.")] = False,
    offset: Annotated[int, typer.Option(help="Skip so many bytes; negative: only the last so many.")] = 0,
    overlord: OverlordUrl = DEFAULT_OVERLORD,
) -> None:
    """
    Print a task's log.

    \b
      nemeton logs ID -f
      nemeton logs ID --offset -2000
    """
    from nemeton.client.logs import follow as following
    from nemeton.client.overlord import Overlord

    def write(text: bytes) -> None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()

    with in_words():
        server = Overlord(overlord)
        if follow:
            following(server, task_id, offset, write)
        else:
            write(server.log(task_id, offset))


@app.command()
def report(task_id: TaskId, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """
    Print a task's report as JSON.

    Rows, errors, segments. A running task's report is live.
    """
    from nemeton.client.overlord import Overlord

    with in_words():
        print_json(Overlord(overlord).report(task_id))


@app.command()
def shutdown(task_id: TaskId, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """End a task. It becomes FAILED at once; a finished one stays as it is."""
    from nemeton.client.overlord import Overlord

    with in_words():
        server = Overlord(overlord)
        code = server.status(task_id)["statusCode"]
        if code == "RUNNING":
            server.shutdown(task_id)
    print(f"{task_id} was asked to end" if code == "RUNNING" else f"{task_id} had ended already: {code}")


@segment.command("dump")
def segment_dump(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A segment, ours or Java Druid's: its index.zip, or the folder with its version.bin and meta.smoosh.",
        ),
    ],
    limit: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="As JSON lines: first the segment, then its rows.")] = False,
) -> None:
    """
    Show a segment: rows, columns, what each column costs, and the first rows.

    \b
      nemeton segment dump nemeton-data/segments/wikiticker/... --limit 3
    """
    from nemeton.dump import dump

    with in_words():
        dump(path, limit, json)


def _hint(command: str, task_id: str, overlord: str) -> str:
    """A command line that can be pasted; a password in the URL is left for its owner to fill in."""
    from nemeton.invocation import as_started, shown_url

    is_known = overlord in (DEFAULT_OVERLORD, os.environ.get("NEMETON_OVERLORD"))
    where = "" if is_known else f" --overlord '{shown_url(overlord)}'"
    return f"{as_started()} {command} '{task_id}'{where}"


def _pass_on(program: str, arguments: list[str]) -> None:
    """Another room's command line reads its own arguments."""
    sys.argv = [program, *arguments]
