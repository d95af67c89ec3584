//! Dockerfile text to instructions with spans, stages, word expansion and ignore patterns
