from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from scored import conversations, save_reward_model

from alignment.rehearsal.local_hub import HubServer
from alignment.scoring import load_scorer

CODE = """
import json, sys
from alignment.cli.exit import guarded
from alignment.scoring import load_scorer

def main():
    for name in ("them/judge", "them/jugde"):
        print(json.dumps(load_scorer(name).score(json.loads(sys.argv[1]))))

sys.exit(guarded(main))
"""


def test_a_reward_model_of_the_hub_scores_as_its_folder_does_and_an_unknown_one_is_told(tmp_path):
    folder, rows = save_reward_model(tmp_path / "model"), conversations(3)
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    own = {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with HubServer() as hub:
        hub.store.put("them/judge", {path.name: path.read_bytes() for path in folder.iterdir()})
        command = [sys.executable, "-c", CODE, json.dumps(rows)]
        environment |= {**own, "HF_ENDPOINT": hub.url}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 2, ran.stderr
    assert json.loads(ran.stdout.strip().splitlines()[-1]) == load_scorer(str(folder)).score(rows)
    assert "them/jugde is not a model on the Hub" in ran.stderr
    assert "Traceback" not in ran.stderr
