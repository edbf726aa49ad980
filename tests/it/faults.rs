//! The lists of faults for `make faults`.

use std::path::Path;

use anyhow::Result;
use wasmdbg_tests::faults;

/// Each fault's text is in the code, once.
#[test]
fn the_lists_follow_the_code() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let faults = faults::read(root)?;
    assert!(faults.len() >= 60, "{}", faults.len());
    let lost: Vec<String> =
        faults.iter().filter_map(|fault| fault.find(root).err()).map(|error| format!("{error:#}")).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    Ok(())
}
