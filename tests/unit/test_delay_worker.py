"""How much memory a model's process may take."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource
before = {before}
if before:
    resource.setrlimit(resource.RLIMIT_DATA, (before, before))
from delay import worker
worker._limit_memory({limit})
print(*resource.getrlimit(resource.RLIMIT_DATA))
try:
    bytearray(3 * 2**30)
    print("given")
except MemoryError:
    print("refused")
"""


@pytest.mark.parametrize(("before", "limit", "then"), [(0, 2 * 2**30, 2 * 2**30), (2**30, 2 * 2**30, 2**30)])
def test_a_models_memory_is_bounded_and_a_lower_bound_of_the_machine_stays(before, limit, then):
    code = CODE.format(before=before, limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert done.stdout.split() == [str(then), str(then), "refused"]
