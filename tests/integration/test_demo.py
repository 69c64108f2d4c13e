"""`orderplan demo` comes to what it must come to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
BOUND_S: Final = 300


@pytest.mark.slow
def test_the_demo_ends_as_expected():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("orderplan")), "demo", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    found = json.loads(done.stdout.splitlines()[-1])
    expected = json.loads((ROOT / "examples" / "expected.json").read_text(encoding="utf-8"))

    assert found["differences"] == []
    assert {name: found[name] for name in expected if name != "about"} == {
        name: value for name, value in expected.items() if name != "about"
    }
