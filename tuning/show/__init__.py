"""Layer 3: what people see: tables, words, figures and the page of a recommendation."""
