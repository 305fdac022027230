"""A plan whose weights are stored in 16 bits: half the size, the same operators, computed in float32."""

from __future__ import annotations

from dataclasses import replace

from mbv1_backbone.export.plans.plan import CONVOLUTIONS, Operator, Plan, Value, in_half

__all__ = ['in_halves']


def in_halves(plan: Plan) -> Plan:
    """The plan with the weights of its convolutions in float16, and an operator after each that widens it."""
    values, operators = dict(plan.values), []
    for operator in plan.operators:
        if operator.kind in CONVOLUTIONS:
            weight = plan.values[operator.inputs[1]]
            assert weight.data is not None  # a constant
            half = in_half(weight.name, weight.data)
            wide = f'{weight.name}/float32'
            values[weight.name] = Value(weight.name, weight.shape, 'float16', half)
            values[wide] = Value(wide, weight.shape)
            operators.append(Operator('DEQUANTIZE', (weight.name,), (wide,), {}))
            operator = operator._replace(inputs=(operator.inputs[0], wide, operator.inputs[2]))
        operators.append(operator)
    return replace(plan, values=values, operators=operators)
