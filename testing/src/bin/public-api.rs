//! Writes what crates offer, one line an item: the first argument is the folder to write to, and each other a file with
//! what rustdoc says of a crate as JSON. `scripts/api` says more.

use std::{env, error::Error, fs, path::Path};

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("a folder to write to is needed")?;
    for file in arguments {
        let crate_name =
            Path::new(&file).file_stem().and_then(|name| name.to_str()).ok_or("no file of a crate")?;
        let listing = Path::new(&folder).join(format!("{}.txt", crate_name.replace('_', "-")));
        write(&file, &listing).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(())
}

fn write(described: &str, listing: &Path) -> Result<(), Box<dyn Error>> {
    let api = Builder::from_rustdoc_json(described)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let lines: String = api.items().map(|item| format!("{item}\n")).collect();
    Ok(fs::write(listing, lines)?)
}
