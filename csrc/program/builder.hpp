// From a spec and a schedule to a plan: steps in order, their owners, barriers and memory.
#pragma once

#include "program/plan.hpp"
#include "program/schedule.hpp"
#include "program/spec.hpp"

namespace thalweg {

Plan build_plan(const Spec& spec, const Schedule& schedule);

}  // namespace thalweg
