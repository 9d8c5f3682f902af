//! The groups of the table: who is in which, and what is asked of each without a walk over the table. Pure.

use std::collections::{BTreeMap, BTreeSet};

use starling_proto::{group::Group, nodes::Entry};

/// The whole cluster or a group.
#[derive(Debug, Default)]
struct Index {
    group: Option<Group>,
    members: usize,
    stopped: BTreeSet<u32>,
}

/// The whole cluster, and every group that has a node.
#[derive(Debug)]
pub(super) struct Groups {
    /// Labels whose values are groups.
    group_by: Vec<String>,
    /// The whole cluster first.
    indexes: Vec<Index>,
    free: Vec<u32>,
    by_group: BTreeMap<Group, u32>,
}

impl Groups {
    /// Nodes are grouped by the values of these labels.
    pub(super) fn new(group_by: Vec<String>) -> Self {
        let cluster = Index { group: Some(Group::cluster()), ..Index::default() };
        Self { group_by, indexes: vec![cluster], free: Vec::new(), by_group: [(Group::cluster(), 0)].into() }
    }

    /// Node `number` is there, as `entry` describes it. Returns the indexes it counts in, the whole cluster first.
    pub(super) fn join(&mut self, number: u32, entry: &Entry) -> Vec<u32> {
        let mut joined = vec![0];
        for key in 0..self.group_by.len() {
            let key = &self.group_by[key];
            let group = entry.labels.get(key).and_then(|value| Group::of(key, value).ok());
            joined.extend(group.map(|group| self.index_of(group)));
        }
        for index in &joined {
            let index = &mut self.indexes[*index as usize];
            index.members += 1;
            if entry.stopped {
                index.stopped.insert(number);
            }
        }
        joined
    }

    fn index_of(&mut self, group: Group) -> u32 {
        if let Some(index) = self.by_group.get(&group) {
            return *index;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.indexes.push(Index::default());
            self.indexes.len() as u32 - 1
        });
        self.indexes[number as usize] = Index { group: Some(group.clone()), ..Index::default() };
        self.by_group.insert(group, number);
        number
    }

    /// Node `number` goes from what it `joined`. A group without a node is gone.
    pub(super) fn leave(&mut self, number: u32, joined: Vec<u32>) {
        for place in joined {
            let index = &mut self.indexes[place as usize];
            index.members -= 1;
            index.stopped.remove(&number);
            // The whole cluster stays, also without a node.
            if index.members == 0 && place != 0 {
                if let Some(group) = std::mem::take(index).group {
                    self.by_group.remove(&group);
                }
                self.free.push(place);
            }
        }
    }

    fn index(&self, group: &Group) -> Option<&Index> {
        Some(&self.indexes[*self.by_group.get(group)? as usize])
    }

    /// Nodes of a group, without those that have stopped and for which `still` does not hold.
    pub(super) fn expected(&self, group: &Group, still: impl Fn(u32) -> bool) -> usize {
        let Some(index) = self.index(group) else { return 0 };
        index.members - index.stopped.iter().filter(|&&number| !still(number)).count()
    }

    /// The groups of label `key` ("label:value"), sorted.
    pub(super) fn of_label(&self, key: &str) -> Vec<String> {
        let of_key = |group: &&Group| group.label().is_some_and(|(held, _)| held == key);
        self.by_group.keys().filter(of_key).map(|group| group.name().to_owned()).collect()
    }

    /// Every group that has a node, without the whole cluster, sorted.
    pub(super) fn all(&self) -> Vec<Group> {
        self.by_group.keys().filter(|group| !group.is_cluster()).cloned().collect()
    }

    /// The group of a place that [`Groups::join`] gave.
    pub(super) fn at(&self, place: u32) -> Option<&Group> {
        self.indexes.get(place as usize)?.group.as_ref()
    }

    /// Whether it is the whole cluster or some node is in it.
    pub(super) fn contains(&self, group: &Group) -> bool {
        self.by_group.contains_key(group)
    }
}
