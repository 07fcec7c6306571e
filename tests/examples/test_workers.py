"""The examples of work behind the scenes, in processes of their own: Celery's forked pool, a frozen function."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from evidence import new_mark
from harness import Farebox as Server
from harness import Key, directive
from scripted import until

from farebox.demo.simulated import SimulatedProviders

ROOT = Path(__file__).parents[2]
READY_S = 60.0

QUEUE = """
import sys
from examples.celery_tasks import app, summarize
folder = sys.argv[1]
app.conf.update(
    broker_url="filesystem://", worker_max_tasks_per_child=1, task_ignore_result=True,
    broker_transport_options={"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder + "/c"},
)
if sys.argv[2] == "worker":
    app.worker_main(["worker", "--pool=prefork", "--concurrency=2", "--loglevel=INFO", "--without-mingle"])
for text in sys.argv[3:]:
    print(summarize.delay("acme", text).id)
"""
FROZEN = """
import json, os, sys
from examples.serverless import handler
asked = {"body": json.dumps({"text": sys.argv[1]}),
         "requestContext": {"authorizer": {"company": "acme", "user": sys.argv[2]}}}
print(json.dumps(handler(asked, None)), flush=True)
os._exit(0)  # nothing that was left for later is ever done
"""


@pytest.fixture
def env(server: Server, simulated: SimulatedProviders, key: Key, tmp_path: Path) -> dict[str, str]:
    """What an example finds around it."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "FAREBOX_URL": server.url,
        "FAREBOX_KEY": key.secret,
        "FAREBOX_SPOOL_DIR": str(tmp_path / "spool"),
        "OPENAI_BASE_URL": simulated.base_url("openai") + "/v1",
        "OPENAI_API_KEY": "sk-own",
    }


@pytest.fixture
def queue(env: dict[str, str], tmp_path: Path) -> Iterator[list[str]]:
    """A worker of the queue, with a broker of files; the command that puts texts into it."""
    pytest.importorskip("celery")
    folder = tmp_path / "broker"
    (folder / "c").mkdir(parents=True)
    command = [sys.executable, "-c", QUEUE, str(folder)]
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen([*command, "worker"], env=env, cwd=tmp_path, stdout=output, stderr=output)
    try:
        assert until(lambda: " ready." in log.read_text(), READY_S), log.read_text()[-4000:]
        yield [*command, "put"]
    finally:
        worker.terminate()
        worker.wait(30)


def test_forked_workers_of_a_queue_send_what_each_of_them_used(
    queue: list[str], env: dict[str, str], server: Server, simulated: SimulatedProviders
) -> None:
    marks = [new_mark() for _ in range(3)]
    texts = [directive(mark) for mark in marks]
    put = subprocess.run([*queue, *texts], env=env, capture_output=True, text=True, timeout=60)
    assert put.returncode == 0, put.stderr
    tasks = put.stdout.split()
    assert len(tasks) == 3
    assert until(lambda: all(server.events(task=task) for task in tasks), READY_S)
    for task in tasks:
        event = server.the_event(task=task)
        assert (event["tenant"], event["feature"], event["state"]) == ("acme", "summarize", "done")
    assert [len(simulated.served(mark)) for mark in marks] == [1, 1, 1]


def test_a_function_has_sent_its_events_before_it_answers(
    env: dict[str, str], server: Server, simulated: SimulatedProviders
) -> None:
    mark, user = new_mark(), new_mark("user")
    done = subprocess.run(
        [sys.executable, "-c", FROZEN, directive(mark), user], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["summary"]
    event = server.the_event(user=user)
    (served,) = simulated.served(mark)
    assert (event["tenant"], event["feature"], event["model_billed"]) == ("acme", "summarize", served.model)
