"""`kcompressd completion`: the script is what a shell accepts, and completes verbs, options and choices."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kcompressd.cli import VERBS, main
from kcompressd.cli.completion import SHELLS


def completed(script: Path, line: str) -> set[str]:
    """What bash offers at the end of `line`."""
    words = line.split(" ")
    code = (
        f"source {script}; COMP_WORDS=({' '.join(words[:-1])} '{words[-1]}'); COMP_CWORD={len(words) - 1}; "
        'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; '
        "$(complete -p kcompressd | sed 's/.*-F //; s/ .*//'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_verbs_options_and_choices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "kcompressd"
    script.write_text(capsys.readouterr().out)
    verbs = {verb.__name__.rpartition(".")[2] for verb in VERBS}
    assert verbs <= completed(script, "kcompressd ")
    assert {"--design", "--store", "--sample"} <= completed(script, "kcompressd run --")
    assert completed(script, "kcompressd run --store z") == {"zram", "zswap"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("kcompressd", "capture", "sample"))
