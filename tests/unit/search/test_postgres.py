"""Studies in a real PostgreSQL: the trials of a journal, killed or not, and clear errors."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from optimer.errors import SearchError
from optimer.search.api import search
from tests.unit.search.test_api import POOL, hill, plain
from tests.unit.search.test_kill import check
from tests.unit.search.test_workers import OPTIONS, start

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PASSWORD = "p" + secrets.token_hex(8)


def program(name):
    places = [os.environ.get("PATH", ""), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    return shutil.which(name, path=os.pathsep.join(places))


def server_user():
    """initdb refuses root."""
    if os.getuid():
        return pwd.getpwuid(os.getuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


@pytest.fixture(scope="module")
def server():
    """URL of a private cluster in a temporary folder, with a password."""
    initdb, postgres, user = program("initdb"), program("postgres"), server_user()
    if not (initdb and postgres and user):
        pytest.skip("PostgreSQL's initdb and postgres are not installed (apt install postgresql)")
    pytest.importorskip("psycopg", reason="pip install -r requirements/postgres.txt")
    folder = Path(tempfile.mkdtemp(prefix="optimer-pg-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    for path in (folder, secret):
        os.chown(path, user.pw_uid, user.pw_gid)
    who = {"user": user.pw_uid, "group": user.pw_gid} if not os.getuid() else {}
    quiet = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = subprocess.run(
        [initdb, "-D", folder / "data", "-U", "optimer", "-A", "scram-sha-256", "--pwfile", secret,
         "-E", "UTF8", "--no-sync"], **quiet, **who,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    running = subprocess.Popen(
        [postgres, "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1",
         "-c", "fsync=off"], **quiet, **who,
    )  # fmt: skip
    try:
        for line in running.stdout:
            if "ready to accept connections" in line:
                break
        yield f"postgresql://optimer:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        running.terminate()
        running.communicate(timeout=30)
        shutil.rmtree(folder)


def test_same_trials_as_anywhere(server, tmp_path):
    journal = tmp_path / "journal.log"
    found = search(POOL, hill, rerank=hill, journal=journal, storage=server, name="a", **OPTIONS)
    memory = search(POOL, hill, rerank=hill, name="a", **OPTIONS)
    assert plain(found.trials) == plain(memory.trials)
    assert found.best.number == memory.best.number
    assert not journal.exists()
    scored = []
    again = search(
        POOL, scored.append, rerank=scored.append, journal=journal, storage=server, name="a",
        **OPTIONS,
    )  # fmt: skip
    assert scored == [] and plain(again.trials) == plain(memory.trials)


def test_three_workers_share_a_study(server, tmp_path):
    options = {**OPTIONS, "storage": server, "name": "b"}
    running = [start(tmp_path / "journal.log", options) for _ in range(3)]
    outputs = [worker.communicate(timeout=120)[0].splitlines() for worker in running]
    reference = search(POOL, hill, rerank=hill, name="b", **OPTIONS)
    for *_, last in outputs:
        assert json.loads(last) == [plain(reference.trials), reference.best.number]
    assert sum(lines.count("scored") for lines in outputs) == 24


@pytest.mark.parametrize("n_workers", [1, 3])
def test_thirty_kills_change_nothing(server, tmp_path, n_workers):
    check(tmp_path, n_workers, 30, server.replace("/postgres", f"/kill{n_workers}"))


@pytest.fixture(scope="module", autouse=True)
def databases(server):
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        for name in ("kill1", "kill3"):
            connection.execute(f"CREATE DATABASE {name}")


def test_errors_never_show_the_password(server, tmp_path):
    wrong = server.replace("/postgres", "/nowhere")
    with pytest.raises(SearchError) as caught:
        search(POOL, hill, storage=wrong, trials=4, batch=4)
    text = str(caught.value)
    assert PASSWORD not in text and "optimer:***@127.0.0.1" in text
    assert "does not exist" in text and "same command" in text


@pytest.mark.parametrize(
    ("url", "words"),
    [("sqlite:///study.db", "must be a PostgreSQL URL, got one of sqlite"),
     ("not a url", "must be postgresql://user:password@host/database")],
)  # fmt: skip
def test_other_urls_are_refused(url, words):
    with pytest.raises(SearchError, match=words):
        search(POOL, hill, storage=url, trials=4, batch=4)
