"""Crops and source frames -> numbers, one file for each thing that is measured."""
