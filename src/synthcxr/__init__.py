"""Synthetic chest X-rays for medical vision-language pre-training. Not for clinical use."""
