"""A model directory in the formats of programs that serve models: GGUF for llama.cpp, a Modelfile for Ollama.

vLLM and transformers load the directory itself. What does not live here: training, which writes the directory
(`optimization/`), and the choice of what serves (`evaluation/champion.py`).
"""
