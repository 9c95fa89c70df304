"""`python -m kcompressd`, and the script: they load the command here, so that Ctrl-C ends it in order from its beginning."""

import sys


def main() -> int:
    """Run the command with the process's own arguments; return the exit code."""
    try:
        from kcompressd import cli

        return cli.main()
    except KeyboardInterrupt:  # before a verb runs
        print("kcompressd: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
