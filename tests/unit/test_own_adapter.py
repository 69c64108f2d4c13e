"""The example of an adapter of one's own works as its README says."""

import asyncio
import json
from pathlib import Path

import orderplan
from adapters.registry import build_adapter
from tests.support.tasks import task_of

KIND = "examples.own_adapter.drop_folder:DropFolderAdapter"
README = Path(__file__).parents[2] / "examples" / "own_adapter" / "README.md"


async def test_a_task_becomes_one_file_however_often_it_is_sent(tmp_path):
    adapter = build_adapter(KIND, {"folder": str(tmp_path)})
    outcomes = await asyncio.gather(*(adapter.perform(task_of("k-1")) for _ in range(5)))
    await adapter.perform(task_of("k-2"))
    await adapter.close()

    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2
    assert {outcome.answer["reference"] for outcome in outcomes} <= set(files)
    assert json.loads((tmp_path / files[0]).read_text()) == {"order": "o1-1", "work": "deliver", "orderId": "o1-1"}


async def test_a_folder_that_is_away_may_be_tried_again(tmp_path):
    outcome = await build_adapter(KIND, {"folder": str(tmp_path / "away")}).perform(task_of())

    assert (outcome.kind, outcome.error_code) == ("retryable", "folder")


def test_the_example_imports_only_what_plug_ins_may_and_its_readme_names_it():
    source = (README.parent / "drop_folder.py").read_text(encoding="utf-8")

    assert "from orderplan import Adapter, Outcome, Task" in source
    assert KIND in README.read_text(encoding="utf-8")
    assert {"Adapter", "Outcome", "Task"} <= set(orderplan.__all__)
