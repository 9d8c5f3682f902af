//! Where the nodes stand on the map. Pure geometry, drawn elsewhere.

use crate::fleet::Fleet;

/// Free columns at each side.
const MARGIN: u16 = 1;

/// Where an arrow points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Left,
    Right,
    Up,
    Down,
}

/// All nodes that are shown, line by line.
#[derive(Debug, PartialEq)]
pub(crate) struct Map {
    pub(crate) lines: Vec<Line>,
    /// Columns of a cell: two where all fit, so that they can be told apart.
    pub(crate) cell: u16,
}

/// A line of the map.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// A group begins: the value of its label, empty for nodes without it, and how many nodes it has.
    Group(String, usize),
    /// Nodes, as places in the list of those that are shown.
    Cells(Vec<usize>),
}

/// The nodes `rows` of `fleet` in a room of `width` columns and, if that can be, `height` lines.
pub(crate) fn layout(fleet: &Fleet, rows: &[usize], group: Option<&str>, width: u16, height: usize) -> Map {
    let groups = groups(fleet, rows, group);
    let wide = Map::of(&groups, group.is_some(), width, 2);
    if wide.lines.len() <= height { wide } else { Map::of(&groups, group.is_some(), width, 1) }
}

/// Members of each group, by the value of the label; those without it last.
fn groups(fleet: &Fleet, rows: &[usize], group: Option<&str>) -> Vec<(String, Vec<usize>)> {
    let Some(key) = group else { return vec![(String::new(), (0..rows.len()).collect())] };
    let mut groups: std::collections::BTreeMap<(bool, &str), Vec<usize>> = std::collections::BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let value = fleet.row(*row).map_or("", |row| row.label(key));
        groups.entry((value.is_empty(), value)).or_default().push(at);
    }
    groups.into_iter().map(|((_, value), members)| (value.to_owned(), members)).collect()
}

impl Map {
    fn of(groups: &[(String, Vec<usize>)], named: bool, width: u16, cell: u16) -> Self {
        let across = usize::from((width.saturating_sub(2 * MARGIN) / cell).max(1));
        let mut lines = Vec::new();
        for (name, members) in groups {
            if named {
                lines.push(Line::Group(name.clone(), members.len()));
            }
            lines.extend(members.chunks(across).map(|cells| Line::Cells(cells.to_vec())));
        }
        Self { lines, cell }
    }

    /// Line and place in it of a node.
    pub(crate) fn place(&self, at: usize) -> Option<(usize, usize)> {
        let found = |line: &Line| match line {
            Line::Cells(cells) => cells.iter().position(|cell| *cell == at),
            Line::Group(..) => None,
        };
        self.lines.iter().enumerate().find_map(|(line, cells)| Some((line, found(cells)?)))
    }

    /// Where an arrow leads from a node: sideways to the next, up and down to the nearest.
    pub(crate) fn moved(&self, at: usize, to: Direction) -> usize {
        let Some((line, place)) = self.place(at) else { return at };
        let all =
            || self.lines.iter().filter_map(|line| if let Line::Cells(cells) = line { Some(cells) } else { None });
        let flat: Vec<usize> = all().flatten().copied().collect();
        let order = flat.iter().position(|cell| *cell == at).unwrap_or(0);
        let rows: Vec<usize> =
            (0..self.lines.len()).filter(|line| matches!(self.lines[*line], Line::Cells(_))).collect();
        let row = rows.iter().position(|row| *row == line).unwrap_or(0);
        let beside = |row: Option<usize>| {
            let cells = row.and_then(|row| all().nth(row));
            cells.and_then(|cells| cells.get(place).or(cells.last())).copied().unwrap_or(at)
        };
        match to {
            Direction::Left => order.checked_sub(1).map_or(at, |order| flat[order]),
            Direction::Right => flat.get(order + 1).copied().unwrap_or(at),
            Direction::Up => beside(row.checked_sub(1)),
            Direction::Down => beside(Some(row + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::hosts;

    #[test]
    fn cells_are_wide_where_all_fit() {
        let fleet = Fleet::of(hosts(100), None).unwrap();
        let rows: Vec<usize> = (0..100).collect();
        let wide = layout(&fleet, &rows, None, 80, 17);
        assert_eq!((wide.cell, wide.lines.len()), (2, 3));
        let narrow = layout(&fleet, &rows, None, 80, 2);
        assert_eq!((narrow.cell, narrow.lines.len()), (1, 2));
        assert_eq!(layout(&fleet, &[], None, 0, 0).lines, [Line::Cells(vec![])][..0]);
    }

    #[test]
    fn groups_have_their_own_lines_and_keys_lead_over_them() {
        let fleet = Fleet::of(hosts(10), None).unwrap();
        let rows: Vec<usize> = (0..10).collect();
        let map = layout(&fleet, &rows, Some("zone"), 80, 17);
        assert_eq!(map.lines[0], Line::Group("a".into(), 5));
        assert_eq!(map.lines[1], Line::Cells(vec![0, 2, 4, 6, 8]));
        assert_eq!(map.lines[3], Line::Cells(vec![1, 3, 5, 7, 9]));
        assert_eq!(
            (map.moved(2, Direction::Right), map.moved(8, Direction::Right), map.moved(0, Direction::Left)),
            (4, 1, 0)
        );
        assert_eq!(
            (map.moved(4, Direction::Down), map.moved(5, Direction::Up), map.moved(9, Direction::Down)),
            (5, 4, 9)
        );
        let none = layout(&fleet, &rows, Some("rack"), 80, 17);
        assert_eq!(none.lines[0], Line::Group(String::new(), 10), "nodes without the label");
    }
}
