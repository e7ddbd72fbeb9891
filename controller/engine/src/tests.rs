//! Whole operations on a real controller with a fake kernel.

mod bench;
mod faults;
mod full;
mod life;
mod networks;
mod ports;
mod restart;
mod windows;
