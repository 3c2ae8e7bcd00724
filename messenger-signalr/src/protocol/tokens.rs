use rmp::Marker;

use super::malformed::{MAX_DEPTH, Malformed};

/// One element of MessagePack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'r> {
    Nil,
    Bool(bool),
    /// Any integer from 0 on, in any encoding.
    Unsigned(u64),
    /// Any integer below 0.
    Negative(i64),
    F32(f32),
    F64(f64),
    Text(&'r str),
    Binary(&'r [u8]),
    Extension(i8, &'r [u8]),
    /// The declared number of values that follow.
    Array(u32),
    /// The declared number of keys that follow, each with its value.
    Map(u32),
}

/// The bytes end too early, or are not MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Reads MessagePack token by token, without recursion or allocation.
#[derive(Debug, Clone)]
pub(super) struct Tokens<'r> {
    rest: &'r [u8],
}

impl<'r> Tokens<'r> {
    pub(super) const fn new(bytes: &'r [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn next(&mut self) -> Result<Token<'r>, Broken> {
        let [marker] = self.fixed()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.fixed()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.fixed()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.fixed()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.fixed()?)),
            Marker::FixNeg(number) => signed(number.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.fixed()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.fixed()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.fixed()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.fixed()?)),
            Marker::F32 => Token::F32(f32::from_be_bytes(self.fixed()?)),
            Marker::F64 => Token::F64(f64::from_be_bytes(self.fixed()?)),
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.len8().and_then(|len| self.text(len))?,
            Marker::Str16 => self.len16().and_then(|len| self.text(len))?,
            Marker::Str32 => self.len32().and_then(|len| self.text(len))?,
            Marker::Bin8 => self.len8().and_then(|len| self.take(len)).map(Token::Binary)?,
            Marker::Bin16 => self.len16().and_then(|len| self.take(len)).map(Token::Binary)?,
            Marker::Bin32 => self.len32().and_then(|len| self.take(len)).map(Token::Binary)?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.len8().and_then(|len| self.extension(len))?,
            Marker::Ext16 => self.len16().and_then(|len| self.extension(len))?,
            Marker::Ext32 => self.len32().and_then(|len| self.extension(len))?,
            Marker::FixArray(len) => Token::Array(len.into()),
            Marker::Array16 => self.len16().map(Token::Array)?,
            Marker::Array32 => self.len32().map(Token::Array)?,
            Marker::FixMap(len) => Token::Map(len.into()),
            Marker::Map16 => self.len16().map(Token::Map)?,
            Marker::Map32 => self.len32().map(Token::Map)?,
            Marker::Reserved => return Err(Broken),
        })
    }

    /// The bytes of the next value, which is nested in `depth` others.
    pub(super) fn skip(&mut self, depth: usize) -> Result<&'r [u8], Malformed> {
        let start = self.rest;
        let mut left = [0; MAX_DEPTH + 1];
        let mut level = depth;
        left[level] = 1;
        loop {
            while left[level] == 0 {
                if level == depth {
                    return Ok(&start[..start.len() - self.rest.len()]);
                }
                level -= 1;
            }
            left[level] -= 1;
            let inside = match self.next()? {
                Token::Array(len) => u64::from(len),
                Token::Map(len) => 2 * u64::from(len),
                _ => continue,
            };
            level += 1;
            *left.get_mut(level).ok_or(Malformed::TooDeep)? = inside;
        }
    }

    fn text(&mut self, len: u32) -> Result<Token<'r>, Broken> {
        str::from_utf8(self.take(len)?).map(Token::Text).map_err(|_| Broken)
    }

    fn extension(&mut self, len: u32) -> Result<Token<'r>, Broken> {
        let kind = i8::from_be_bytes(self.fixed()?);
        Ok(Token::Extension(kind, self.take(len)?))
    }

    fn len8(&mut self) -> Result<u32, Broken> {
        Ok(u8::from_be_bytes(self.fixed()?).into())
    }

    fn len16(&mut self) -> Result<u32, Broken> {
        Ok(u16::from_be_bytes(self.fixed()?).into())
    }

    fn len32(&mut self) -> Result<u32, Broken> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Broken)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, len: u32) -> Result<&'r [u8], Broken> {
        let len = usize::try_from(len).map_err(|_| Broken)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Broken)?;
        self.rest = rest;
        Ok(bytes)
    }
}

fn signed(number: i64) -> Token<'static> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}
