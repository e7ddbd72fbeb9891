//! Real containers: the shim, libcontainer and the kernel together, driven through the `runtime` crate.
//!
//! Needs root and a static busybox; without them a test says so and passes, with `CNM_TEST_REQUIRE=1` it fails.
//! Cargo builds the shim's program for these tests by itself.
#![expect(clippy::unwrap_used, reason = "a test that can't go on says where")]

mod containers {
    pub(crate) mod lab;

    mod confinement;
    mod endings;
    mod execs;
    mod restarts;
    mod streams;
}
