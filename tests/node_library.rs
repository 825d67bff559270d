//! The test cases and the known defects of the Node library, by topic. `docs/node-library.md` lists which test covers
//! which of them.

mod cases;
mod defects;
