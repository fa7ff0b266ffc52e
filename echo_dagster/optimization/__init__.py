"""Stage 4: the fine-tune, in a process of its own.

`job` says what to train on what and how to start it; `train` is the program that the DeepSpeed launcher
runs; `record` writes what came of it into the lake. Nothing here decides whether the model got better
(`evaluation/`).
"""
