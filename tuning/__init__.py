"""Which batch size should I train with, on this model, this data, this machine, and why?"""
