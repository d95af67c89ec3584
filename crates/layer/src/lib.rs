//! Layer tar streams in and out: deterministic writer, compression, digests, tree index, safe extraction
