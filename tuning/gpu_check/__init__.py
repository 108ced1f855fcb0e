"""`python -m tuning.gpu_check`: whether what is promised of a GPU holds on the one at hand."""
