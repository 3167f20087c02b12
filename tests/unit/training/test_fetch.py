"""Given models: from a folder, and from a Hub that this test serves itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from factories import make_model, save

from optimer.errors import ArtifactError
from optimer.schema import Params
from optimer.tensors import TensorStore
from optimer.training import train

COMMIT = "c0ffee" + "0" * 34


def silent(_line: str) -> None:
    return None


def given(params: Params, source: str) -> Params:
    return params.model_copy(update={"model": params.model.model_copy(update={"base": source})})


def test_given_model_is_copied_from_a_folder(world: Callable) -> None:
    params, paths = world()
    source = paths.results / "elsewhere"
    save(make_model("llama", seed=3), source)
    (source / "pytorch_model.bin").write_bytes(b"never read")
    receipt = train(given(params, str(source)), paths, "base", report=silent)
    assert receipt["commit"] is None
    assert sorted(receipt["files"]) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
    assert receipt["dtypes"] == ["float32"]
    assert TensorStore.open(paths.model("base")).names() == TensorStore.open(source).names()


def test_given_model_with_code_or_without_safetensors(world: Callable) -> None:
    params, paths = world()
    source = paths.results / "elsewhere"
    save(make_model("llama"), source)
    config = source / "config.json"
    plain = config.read_text()
    config.write_text(
        json.dumps(json.loads(plain) | {"auto_map": {"AutoModel": "code.Net"}, "model_type": "net"})
    )
    with pytest.raises(ArtifactError, match="needs code that ships with it"):
        train(given(params, str(source)), paths, "base", report=silent)
    config.write_text(plain)
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="a pickle; only safetensors are read"):
        train(given(params, str(source)), paths, "base", report=silent)


def test_given_model_that_is_nowhere(world: Callable) -> None:
    params, paths = world()
    with pytest.raises(ArtifactError, match=r"'no/such/folder/at/all' .* could not be fetched"):
        train(given(params, "no/such/folder/at/all"), paths, "base", report=silent)
    assert not paths.model_receipt("base").exists()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served as repository org/toy, at one commit, by the Hub's own addresses."""
    folder = save(make_model("llama"), tmp_path / "served", max_shard_size="50KB")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    served: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self, body: bool = True) -> None:
            path = self.path.split("?")[0]
            if path.startswith(f"/api/models/org/toy/tree/{COMMIT}"):
                files = [
                    {
                        "type": "file",
                        "oid": file.name,
                        "size": file.stat().st_size,
                        "path": file.name,
                    }
                    for file in folder.iterdir()
                ]
                self.answer(json.dumps(files).encode(), body)
            elif path == "/api/models/org/toy":
                self.answer(json.dumps({"id": "org/toy", "sha": COMMIT}).encode(), body)
            elif path.startswith(f"/org/toy/resolve/{COMMIT}/"):
                name = path.rsplit("/", 1)[1]
                served.append(name)
                self.answer((folder / name).read_bytes(), body, etag=name)
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET(body=False)

        def answer(self, content: bytes, body: bool, etag: str = "x") -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield folder
    server.shutdown()
    assert "pytorch_model.bin" not in served


def test_given_model_is_fetched_at_a_recorded_commit(world: Callable, hub: Path) -> None:
    params, paths = world()
    receipt = train(given(params, "org/toy"), paths, "base", report=silent)
    assert receipt["commit"] == COMMIT
    assert receipt["source"] == "org/toy"
    fetched, served = TensorStore.open(paths.model("base")), TensorStore.open(hub)
    assert len(fetched.files()) > 1
    assert all(fetched.read(name).equal(served.read(name)) for name in served.names())
    assert not (paths.model("base") / "pytorch_model.bin").exists()
    assert not any(item.is_dir() for item in paths.training_state("base").iterdir())


def test_repository_that_the_hub_does_not_have(world: Callable, hub: Path) -> None:
    params, paths = world()
    with pytest.raises(
        ArtifactError, match=r"'org/other' \(revision newest\) could not be fetched"
    ):
        train(given(params, "org/other"), paths, "base", report=silent)


def test_hub_out_of_reach(world: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    params, paths = world()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ArtifactError, match=r"'org/toy' .* could not be fetched from the Hub"):
        train(given(params, "org/toy"), paths, "base", report=silent)
