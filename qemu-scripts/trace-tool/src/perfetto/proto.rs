//! Protocol buffers, as much of them as a trace needs: a message is its fields, one after the other.

/// A message that is being written.
#[derive(Default, Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    /// With a number that is not negative, or a boolean, or the value of an enum.
    pub fn number(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    /// With a number of eight bytes.
    pub fn fixed(mut self, field: u64, value: u64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// With a string.
    pub fn text(self, field: u64, text: &str) -> Self {
        self.message(field, &Message(text.into()))
    }

    /// With a message in it.
    pub fn message(mut self, field: u64, inner: &Message) -> Self {
        self.key(field, 2);
        self.varint(inner.0.len() as u64);
        self.0.extend(&inner.0);
        self
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's own documentation.
    #[test]
    fn fields_have_their_bytes() {
        assert_eq!(Message::default().number(1, 150).bytes(), [0x08, 0x96, 0x01]);
        let testing = [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67];
        assert_eq!(Message::default().text(2, "testing").bytes(), testing);
        let inner = Message::default().number(1, 150);
        assert_eq!(Message::default().message(3, &inner).bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(Message::default().fixed(1, 1).bytes(), [0x09, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Message::default().number(60, u64::MAX).bytes()[..2], [0xe0, 0x03]);
    }
}
