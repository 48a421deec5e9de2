//! What survives `kill -9`, and how much goes on at once.
