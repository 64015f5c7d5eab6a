"""Shards and pretrained weights -> fine-tuned weights."""
