//! The pages that the steps work on.

use user::memory::PAGE;

/// Where the window begins: its last page is the first of another page table.
const START: usize = 0x6020_0000 - 2 * PAGE;
const PAGES: usize = 3;
/// Words of a page that are used: its first, and one in the middle.
const CELL: usize = PAGE / 2;

/// The address of a page.
pub(crate) fn page(number: u8) -> usize {
    START + usize::from(number) * PAGE
}

/// The address of a word of a page.
pub(crate) fn word(page_number: u8, cell: u8) -> usize {
    page(page_number) + usize::from(cell) * CELL
}

/// Whether `address` is in the window.
pub(crate) fn contains(address: usize) -> bool {
    (START..START + PAGES * PAGE).contains(&address)
}

/// The file offset of the word with this place in its page.
pub(crate) fn offset(page_number: u8, cell: u8) -> usize {
    word(page_number, cell) - START
}
