//! The debugging session engine behind every front end.
