"""The configs folder over HTTP."""

from __future__ import annotations

import hashlib

from tests.unit.api_routes.conftest import Yard


def test_configs_are_listed_read_and_checked(yard: Yard) -> None:
    text = 'command = ["true"]\ntime_limit = "12h"\n'
    (yard.configs / "train.toml").write_text(text)
    (yard.configs / "lora").mkdir()
    (yard.configs / "lora" / "config.json").write_text('{"--model_type": "lora", "--num_processes": 2}')
    (yard.configs / "README.md").write_text("no config")
    listed = yard.get("/api/configs")
    assert [(one["name"], one["format"], one["file"]) for one in listed["configs"]] == [
        ("lora", "json", "lora/config.json"),
        ("train", "toml", "train.toml"),
    ]
    assert listed["count"] == 2
    assert yard.get("/api/configs/train") == {
        "name": "train",
        "config": {"command": ["true"], "time_limit": "12h"},
        "kind": "gpuyard",
        "format": "toml",
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    lora = yard.get("/api/configs/lora")
    assert (lora["kind"], lora["config"]["--num_processes"]) == ("simpletuner", 2)
    for name in ("train", "lora"):
        checked = yard.post(f"/api/configs/{name}/validate")
        assert checked == {"valid": True, "is_valid": True, "errors": [], "warnings": []}


def test_a_broken_config_is_read_and_says_what_is_wrong(yard: Yard) -> None:
    (yard.configs / "broken.toml").write_text("command = [")
    (yard.configs / "typo.toml").write_text('comand = ["true"]\ndevice_ids = [0]\nnum_processes = 2')
    assert yard.get("/api/configs/broken")["config"] == {}
    broken = yard.post("/api/configs/broken/validate")
    assert (broken["valid"], broken["is_valid"]) == (False, False)
    assert "TOML" in broken["errors"][0]
    typo = yard.post("/api/configs/typo/validate")
    assert len(typo["errors"]) == 2
    assert "did you mean command" in typo["errors"][1]
    assert "any GPUs will be used" in typo["warnings"][0]


def test_an_unknown_config_is_404_and_a_forbidden_name_422(yard: Yard) -> None:
    for method, path in (("GET", "/api/configs/none"), ("POST", "/api/configs/none/validate")):
        response = yard.ask(method, path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert yard.ask("GET", "/api/configs/.hidden").status_code == 422
    assert yard.ask("GET", "/api/configs/" + "x" * 129).status_code == 422


def test_no_folder_is_no_error(yard: Yard) -> None:
    yard.configs.rmdir()
    assert yard.get("/api/configs") == {"configs": [], "count": 0}
    assert yard.ask("GET", "/api/configs/train").status_code == 404
