"""The command line. Each command is a file of its own, imported when it is called."""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import click

from rangecache.errors import ConfigurationError, RangecacheError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = {
    "serve": "rangecache.cli.serve:serve",
    "demo": "rangecache.cli.demo:demo",
    "check-config": "rangecache.cli.check_config:check_config",
    "doctor": "rangecache.cli.doctor:doctor",
    "warm": "rangecache.cli.warm:warm",
    "ls": "rangecache.cli.ls:ls",
    "stat": "rangecache.cli.stat:stat",
    "purge": "rangecache.cli.purge:purge",
    "record": "rangecache.cli.record:record",
    "simulate": "rangecache.cli.simulate:simulate",
}
"""Command → where it is defined, in the order of the help."""

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 2  # click's own code for a wrong command line
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as a shell counts it


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called or described."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands that are installed, in the order of the help."""
        return [name for name, where in COMMANDS.items() if find_spec(where.partition(":")[0]) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name]} is not a click command")
        return command


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from rangecache.cli.version import version_line

        click.echo(version_line())
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Versions.")
def root() -> None:
    """A local HTTP proxy that caches byte ranges of large objects in S3, HTTP and file stores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default the process's own, and return the exit code.

    0: done; 1: it failed; 2: the configuration or the command line is at fault; 130: interrupted. What is expected to
    happen is told in a sentence on stderr, never by a traceback.
    """
    try:
        result: Any = root.main(args=arguments, prog_name="rangecache", standalone_mode=False)
    except click.UsageError as error:
        _complain(error.format_message())
        path = error.ctx.command_path if error.ctx else "rangecache"
        click.echo(f"Try `{path} --help`.", err=True)
        return error.exit_code
    except click.ClickException as error:
        _complain(error.format_message())
        return error.exit_code
    except ConfigurationError as error:
        faults = error.message.splitlines()
        _complain(f"the configuration has {len(faults)} fault{'' if len(faults) == 1 else 's'}:")
        click.echo(error.message, err=True)
        return EXIT_CONFIGURATION
    except RangecacheError as error:
        _complain(error.message)
        return EXIT_FAILED
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it flushes at exit.
        sys.stdout = None
        return EXIT_FAILED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        instead = "; choose another with --listen or --admin-listen" if error.errno == errno.EADDRINUSE else ""
        _complain(f"{error.strerror or error}{where}{instead}")
        return EXIT_FAILED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    return result if isinstance(result, int) else 0


def _complain(sentence: str) -> None:
    click.echo(f"rangecache: {sentence}", err=True)
