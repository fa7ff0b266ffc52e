"""What parsers know of source code: the refinery cuts gaps by it, evaluation asks whether an answer parses."""
