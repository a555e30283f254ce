// Errors that a caller can cause. The text is `<op>: <rule>; got <names, shapes, values>`.
#pragma once
#include <stdexcept>
#include <string>

namespace moegrad {

/// The base of every error that moegrad throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A shape, an axis or a rank does not fit the rule of the op.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A dtype that the op does not take, or two dtypes that it does not mix.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// Tensors on different devices, or a device that this build or machine lacks.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A value used as an index lies outside its range.
class IndexError : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be read or written, or whose content contradicts itself.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A gradient that was asked for does not exist: no graph, a released graph, a value changed since it was saved.
class GradError : public Error {
 public:
  using Error::Error;
};

/// A fault of moegrad itself, for example a gradient rule that reads a value its op did not save.
class InternalError : public Error {
 public:
  using Error::Error;
};

}  // namespace moegrad
