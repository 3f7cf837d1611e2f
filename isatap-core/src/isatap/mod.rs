//! ISATAP: IPv6 inside one IPv4 site, without IPv4 multicast. [RFC 5214]
pub mod addr;
