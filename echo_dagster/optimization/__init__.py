"""Stage 4: the base model, FIM formats and the DeepSpeed training program."""
