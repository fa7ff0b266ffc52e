"""What DeepSpeed's launcher needs before it starts ranks on other hosts; then this process becomes that launcher.

    python -m echo_dagster.optimization.launch JOB.json deepspeed --hostfile HOSTS ... --job JOB.json

It starts ranks through ssh, also those of this host, and hands on few variables of its own: so those that ranks need
go into a file that it reads (`DS_ENV_FILE`). Ranks on this host watch the launcher and who asked for it
(`train_watch.py`). Imports nothing heavy.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from echo_dagster.optimization.job import OWNER_VARIABLE, SSH_VARIABLE, Job, process_name

#: What ranks on other hosts are told: Dagster Pipes, the training, threads and networks.
HANDED_ON = re.compile(
    r"DAGSTER_PIPES_\w+|ECHO_TRAINING_\w+|DS_ACCELERATOR|DEEPSPEED_TIMEOUT|TOKENIZERS_PARALLELISM|HF_HUB_DISABLE_TELEMETRY|"
    r"OMP_\w+|GLOO_\w+|NCCL_\w+|TORCH_\w+|PYTORCH_\w+"
)


def handed_on(variables: Mapping[str, str], own: str) -> str:
    """Return the lines of DeepSpeed's file of variables: those of the user's own file, then ours.

    Args:
        variables: of this process.
        own: what stands in the user's `.deepspeed_env`, which ours takes the place of.
    """
    ours = {name: value for name, value in sorted(variables.items()) if HANDED_ON.fullmatch(name)}
    lines = [line for line in own.splitlines() if "=" in line]
    return "".join(f"{line}\n" for line in [*lines, *(f"{name}={value}" for name, value in ours.items())])


def main(arguments: list[str]) -> None:
    """Write the file of variables of a job, and become the launcher."""
    job, *command = arguments
    owners = [os.environ.get(OWNER_VARIABLE), process_name()]
    os.environ[OWNER_VARIABLE] = ",".join(owner for owner in owners if owner)
    os.environ[SSH_VARIABLE] = "1"
    named = os.environ.get("DS_ENV_FILE", ".deepspeed_env")
    theirs = [file for file in (Path.home() / named, Path(named)) if file.is_file()]
    own = "\n".join(file.read_text(encoding="utf-8") for file in dict.fromkeys(theirs))
    file = Job.read(Path(job)).out / "environment"
    file.touch(mode=0o600)
    file.write_text(handed_on(os.environ, own), encoding="utf-8")
    os.environ["DS_ENV_FILE"] = str(file)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
