//! The groups of a file: which datasets and groups lie in which.
//!
//! In: paths of datasets, later the addresses of their headers. Out: encoded groups, the inner ones
//! first. Not here: the bytes of one group ([`super::headers`]).

use std::collections::BTreeMap;

use almagest_engine::{Error, Result};

use super::headers::{self, GROUP_LEAF_K, Group};

/// The members of a group, by name.
#[derive(Default)]
pub struct Members(BTreeMap<String, Member>);

enum Member {
    Dataset(u64),
    Group(Members),
}

impl Members {
    /// The root group of a file with datasets at these paths, which have no address yet.
    ///
    /// # Errors
    /// `Plan` for a path that HDF5 does not have, or that is taken.
    pub fn of<'a>(paths: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut root = Self::default();
        for path in paths {
            let mut group = &mut root;
            let mut names = path.split('/').peekable();
            while let Some(name) = names.next() {
                if name.is_empty() || name.contains('\0') || name == "." || name == ".." {
                    return Err(Error::plan(format!("'{path}' cannot name a dataset")));
                }
                let last = names.peek().is_none();
                if last && group.0.contains_key(name) {
                    return Err(Error::plan(format!("two datasets named '{path}'")));
                }
                let new = || match last {
                    true => Member::Dataset(headers::UNDEFINED),
                    false => Member::Group(Self::default()),
                };
                match group.0.entry(name.into()).or_insert_with(new) {
                    Member::Group(inner) => group = inner,
                    Member::Dataset(_) if last => break,
                    Member::Dataset(_) => {
                        return Err(Error::plan(format!(
                            "'{path}' would lie in '{name}', which is a dataset"
                        )));
                    }
                }
            }
        }
        Ok(root)
    }

    /// Says where the header of the dataset at `path` stands.
    pub fn place(&mut self, path: &str, address: u64) {
        match path.split_once('/') {
            Some((name, rest)) => {
                if let Some(Member::Group(inner)) = self.0.get_mut(name) {
                    inner.place(rest, address);
                }
            }
            None => _ = self.0.insert(path.into(), Member::Dataset(address)),
        }
    }

    /// The leaf K with which one leaf holds all members of any group.
    pub fn leaf_k(&self) -> usize {
        let inner = self.0.values().map(|member| match member {
            Member::Dataset(_) => GROUP_LEAF_K,
            Member::Group(group) => group.leaf_k(),
        });
        inner.max().unwrap_or(GROUP_LEAF_K).max(self.0.len().div_ceil(2))
    }

    /// Writes the groups from the offset `at` on; gives the outermost, and the offset behind it.
    ///
    /// # Errors
    /// Those of `append`, which writes at an offset and gives the one behind.
    pub fn write(
        &self,
        leaf_k: usize,
        mut at: u64,
        append: &mut impl FnMut(&[u8], u64) -> Result<u64>,
    ) -> Result<(Group, u64)> {
        let mut members = vec![];
        for (name, member) in &self.0 {
            let address = match member {
                Member::Dataset(address) => *address,
                Member::Group(inner) => {
                    let (group, end) = inner.write(leaf_k, at, append)?;
                    at = end;
                    group.address
                }
            };
            members.push((name.as_str(), address));
        }
        let group = headers::group(&members, leaf_k, at);
        let end = append(&group.bytes, at)?;
        Ok((group, end))
    }
}
