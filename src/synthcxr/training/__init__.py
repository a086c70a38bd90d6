"""Learning: arguments, trainers, tokenizers and the pre-training job."""
