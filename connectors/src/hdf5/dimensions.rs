//! Names of dimensions, and which arrays only describe others.
//!
//! Dimension names come from an array's labels (`DIMENSION_LABELS`), from the dimension scales
//! attached to it (`DIMENSION_LIST`: the name of the scale in its group), for netCDF-4 coordinates
//! of several dimensions from `_Netcdf4Coordinates`; without any of them they are `x`, `y`, `z` from
//! the last axis on and `d0`, `d1`, … before. Not here: reading the scales as arrays.

use std::collections::{HashMap, HashSet};

use almagest_engine::Result;
use almagest_engine::array::default_dim;

use super::attributes::Attributes;
use super::groups;
use super::metadata::Metadata;
use super::object::Object;

/// The names of a file's datasets, looked up where they are first needed.
#[derive(Debug, Default)]
pub struct Names {
    /// By address.
    pub by_address: Option<HashMap<u64, String>>,
    /// Those of netCDF-4's dimensions by their numbers.
    by_number: Option<HashMap<i32, String>>,
}

/// CF attributes that name auxiliary arrays beside the one that bears them.
const AUXILIARY: [&str; 6] = [
    "bounds",
    "coordinates",
    "grid_mapping",
    "ancillary_variables",
    "cell_measures",
    "formula_terms",
];

/// Whether a dataset is a dimension scale.
///
/// # Errors
/// `DataInvalid`, `Unreachable`.
pub fn is_scale(attributes: &Attributes, metadata: &mut Metadata) -> Result<bool> {
    Ok(attributes.texts("CLASS", metadata)?.iter().any(|class| class == "DIMENSION_SCALE"))
}

/// The names of arrays that this one says are auxiliary to it.
///
/// # Errors
/// `DataInvalid`, `Unreachable`.
pub fn auxiliary(attributes: &Attributes, metadata: &mut Metadata) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for name in AUXILIARY {
        for text in attributes.texts(name, metadata)? {
            let words = text.split_whitespace().map(|word| word.trim_end_matches(':'));
            found.extend(words.map(String::from));
        }
    }
    Ok(found)
}

/// The dimension names of the array `object`, whose own name is `own`, with `ndim` axes. `known` has
/// what was looked up in the file before.
///
/// # Errors
/// `DataInvalid`, `Unreachable`.
pub fn names(
    metadata: &mut Metadata,
    object: &Object,
    own: &str,
    ndim: usize,
    known: &mut Names,
) -> Result<Vec<String>> {
    let attributes = Attributes::read(metadata, object)?;
    let labels = attributes.texts("DIMENSION_LABELS", metadata)?;
    let scales = attributes.references("DIMENSION_LIST", metadata)?;
    let numbers = attributes.integers("_Netcdf4Coordinates");
    if known.by_address.is_none() && !(scales.is_empty() && numbers.is_empty()) {
        let root = metadata.root;
        known.by_address = Some(groups::list(metadata, root, "")?.names);
    }
    let none = HashMap::new();
    let names = known.by_address.as_ref().unwrap_or(&none);
    if known.by_number.is_none() && !numbers.is_empty() {
        known.by_number = Some(netcdf_dimensions(names, metadata)?);
    }
    let by_number = known.by_number.iter();
    let coordinates: Vec<String> = by_number
        .flat_map(|names| numbers.iter().map_while(|number| names.get(number).cloned()))
        .collect();
    let own_scale = ndim == 1 && is_scale(&attributes, metadata)?;
    let mut found: Vec<String> = vec![];
    for axis in 0..ndim {
        let label = labels.get(axis).filter(|label| !label.is_empty()).cloned();
        let scale = || scales.get(axis).copied().flatten().and_then(|at| names.get(&at).cloned());
        let coordinate = || coordinates.get(axis).cloned();
        let itself = || own_scale.then(|| own.to_string());
        let name = label.or_else(scale).or_else(coordinate).or_else(itself);
        let name = name.unwrap_or_else(|| default_dim(axis, ndim));
        found.push(name);
    }
    Ok(distinct(found))
}

/// An array may lie on one dimension twice, as a matrix of covariances does.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = vec![];
    for name in names {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        found.extend(candidates.find(|name| !found.contains(name)));
    }
    found
}

fn netcdf_dimensions(
    names: &HashMap<u64, String>,
    metadata: &mut Metadata,
) -> Result<HashMap<i32, String>> {
    let mut by_number = HashMap::new();
    for (address, name) in names {
        let object = Object::read(metadata, *address)?;
        let attributes = Attributes::read(metadata, &object)?;
        if is_scale(&attributes, metadata)?
            && let [number] = attributes.integers("_Netcdf4Dimid")[..]
        {
            by_number.insert(number, name.clone());
        }
    }
    Ok(by_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unnamed_axes_end_in_z_y_x() {
        let names: Vec<String> = (0..5).map(|axis| default_dim(axis, 5)).collect();
        assert_eq!(names, ["d0", "d1", "z", "y", "x"]);
    }

    #[test]
    fn a_dimension_that_comes_twice_is_numbered() {
        let names = distinct(vec!["band".into(), "band".into(), "band_2".into()]);
        assert_eq!(names, ["band", "band_2", "band_2_2"]);
    }
}
