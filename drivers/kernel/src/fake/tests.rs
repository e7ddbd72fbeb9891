//! The fake keeps the contract, and fails when it is told to.

use std::path::Path;

use super::FakeKernel;
use crate::contract::{Case, kernel_contract};

fn on_the_fake(case: fn(&Case<'_>)) {
    case(&Case::new(&FakeKernel::new(), Path::new("/run/test/netns")));
}

kernel_contract!(on_the_fake);
