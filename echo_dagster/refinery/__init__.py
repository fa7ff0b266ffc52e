"""Stage 3: truncation, quality filters, balance and perplexity: from gaps to training samples."""
