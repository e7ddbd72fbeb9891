//! Tables of what is desired.
