//! What must hold of a pool at rest, checked from scratch.

use super::Pool;
use super::class::{EMPTY, FULLNESS_GROUPS};
use super::zspage::{Cell, Class};
use crate::units::NIL;

impl Pool {
    /// Checks the equations in [`Pool`]'s description, every list, every free list and every handle.
    ///
    /// Meant for tests: it walks everything. Other threads must be at rest for the page count to agree.
    ///
    /// # Panics
    /// If anything disagrees, naming the class and what it is.
    pub fn invariant(&self) {
        let pages: usize = self.classes.iter().map(|shard| check_class(&shard.class.lock())).sum();
        assert_eq!(pages, self.total_pages(), "pages in zspages against total_pages");
    }
}

/// Checks one class and returns its pages.
fn check_class(class: &Class) -> usize {
    let name = class.shape.size_bytes;
    let (mut zspages, mut objects) = (0, 0);
    assert_eq!(class.lists[EMPTY].head, NIL, "class {name}: empty zspages are freed at once");
    for group in EMPTY..FULLNESS_GROUPS {
        let members: Vec<u32> = class.list(group).collect();
        assert_eq!(members.len(), class.lists[group].count as usize, "class {name}: length of list {group}");
        assert_eq!(class.filled >> group & 1 == 1, !members.is_empty(), "class {name}: bit of list {group}");
        zspages += members.len();
        objects += members.iter().map(|&zspage| check_zspage(class, zspage, group)).sum::<usize>();
    }
    assert_eq!(zspages, class.zspage_count(), "class {name}: zspages on lists");
    assert_eq!(objects, class.objects, "class {name}: objects in zspages");
    assert_eq!(objects, class.handles.count(), "class {name}: handles in use");
    zspages * class.shape.pages as usize
}

/// Checks one zspage of list `group` and returns its objects.
fn check_zspage(class: &Class, zspage: u32, group: usize) -> usize {
    let (name, at) = (class.shape.size_bytes, &class.zspages[zspage as usize]);
    assert_eq!((at.group, class.shape.group_of(at.inuse)), (group, group), "class {name}: group of {zspage}");
    let cells = class.cells_of(zspage);
    let mut objects = 0;
    for (object, handle) in (0..).zip(cells).filter_map(|(object, cell)| Some((object, cell.handle()?))) {
        let slot = class.slot(handle);
        assert!(class.handles.contains(handle), "class {name}: handle {handle}");
        assert_eq!((slot.zspage(), slot.object()), (zspage, object), "class {name}: place of handle {handle}");
        objects += 1;
    }
    assert_eq!(objects, at.inuse as usize, "class {name}: objects in zspage {zspage}");
    assert_eq!(free_cells(cells, at.free), cells.len() - objects, "class {name}: free list of {zspage}");
    objects
}

/// The length of a free list, stopping at a cell that is not free or after all cells (a loop).
fn free_cells(cells: &[Cell], first: u32) -> usize {
    let some = |index: u32| (index != Cell::END).then_some(index);
    let next = |&at: &u32| cells[at as usize].handle().is_none().then(|| some(cells[at as usize].next()))?;
    std::iter::successors(some(first), next).take(cells.len() + 1).count()
}
