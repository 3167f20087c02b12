"""Tables, figures and their comparison, from result files (CSV, JSON, YAML) alone."""
